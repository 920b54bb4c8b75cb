"""MuJoCo: the robot's model and many copies of it stepped together."""
