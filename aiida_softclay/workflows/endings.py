"""Why a process did not end well, in a sentence for those who waited for it."""

from __future__ import annotations

from aiida import orm


def message_of(process: orm.ProcessNode) -> str:
    """Return why a process did not end well: its exit message, or the last line of the error that stopped it."""
    if process.exit_message:
        return str(process.exit_message)
    if process.is_excepted:
        lines = str(process.exception or '').strip().splitlines()
        return f'{process.process_label} was stopped by an error: {lines[-1] if lines else "unknown"}'
    if process.is_finished:
        return f'{process.process_label} ended with exit status {process.exit_status}'
    return f'{process.process_label} is {process.process_state.value if process.process_state else "not started"}'
