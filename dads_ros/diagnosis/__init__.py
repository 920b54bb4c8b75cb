"""What is wrong with a robot's ROS graph, judged from what was heard of it; no ROS in here."""
