"""The view: robots, plans and skills in a page of a browser. Imports no ROS."""
