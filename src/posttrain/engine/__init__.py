"""What will happen: expand, plan, run, work, judge, events."""
