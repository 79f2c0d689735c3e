"""What runs engines side by side, and what is made of their times."""
