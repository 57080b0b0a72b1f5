"""What landed writes tell: each idea one small file of pure functions of a `Trace`."""
