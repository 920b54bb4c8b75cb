"""What is done to a robot's processes and topics, and what must be seen then: rows.py."""
