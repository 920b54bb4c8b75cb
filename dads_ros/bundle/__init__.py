"""What the robot needs: manifest and ONNX runtime. No torch."""
