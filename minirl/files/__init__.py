"""Files that are written whole or not at all and read as strictly: atomic writing, JSON, the safetensors layout. No object of learning."""
