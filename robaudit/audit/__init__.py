"""Profile -> plan -> runs -> journal -> result, in a supervised worker process."""
