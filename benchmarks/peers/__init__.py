"""What people would use instead, written as their documentation does."""
