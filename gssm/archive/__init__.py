"""What is written: encoding, stores."""
