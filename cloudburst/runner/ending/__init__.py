"""The end of a run: its stacks destroyed, its report, what the user wants done."""
