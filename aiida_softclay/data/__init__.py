"""AiiDA data types of the plugin."""
