"""What will run: attacks, threat models, costs; what refuses an audit before it starts."""
