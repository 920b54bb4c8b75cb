"""ROS 2: the shell around the core."""
