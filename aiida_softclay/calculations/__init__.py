"""CalcJobs of the plugin and the typed plans they run."""
