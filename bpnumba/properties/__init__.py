"""What a potential says of materials: crystals, vibrations, molecular dynamics; with any calculator of ASE."""
