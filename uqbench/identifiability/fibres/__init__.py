"""Global identifiability as a question about fibres: how many points give the same outputs as a random one?"""
