"""MPPI over skills, costs, and the gate for commands. numpy only."""
