"""Tables, figures and views of predictions. Only this room knows plots."""
