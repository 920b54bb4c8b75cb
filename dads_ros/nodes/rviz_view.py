"""What RViz is started with for one robot of several. Imports no ROS: a launch file uses it."""

import yaml


def with_frame_prefix(text: str, prefix: str) -> str:
    """The content of config/dads.rviz for a robot whose frames have a prefix, such as robot2/.

    Its topics are relative: RViz started in the robot's namespace finds them.
    """
    view = yaml.safe_load(text)
    manager = view["Visualization Manager"]
    for place, key in (
        (manager["Global Options"], "Fixed Frame"),
        (manager["Views"]["Current"], "Target Frame"),
    ):
        place[key] = f"{prefix}{place[key]}"
    return yaml.safe_dump(view, sort_keys=False)
