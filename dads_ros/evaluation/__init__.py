"""Closed loop in MuJoCo on a bundle. No torch, no ROS."""
