"""Pictures: formats, decoding, orientation, colour, masks and encoding.

`header`, `formats`, `limits`, `file_types` and `containers` are pure Python: the gateway reads headers without NumPy.
"""
