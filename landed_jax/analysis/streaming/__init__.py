"""Attribution of all positions with a reduction inside the layer loop."""
