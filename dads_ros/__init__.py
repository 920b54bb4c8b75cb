"""dads_ros: a robot discovers skills without reward, then plans over them (arXiv:1907.01657)."""

__version__ = "0.1.0"
