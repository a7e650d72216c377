"""Files: atomic writing, strict JSON, the safetensors layout. No object of learning."""
