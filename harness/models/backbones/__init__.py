"""Vision encoders and language models in Hugging Face form, behind one interface each."""
