// Written by `make console` from the declarations in services/*/schemas.py.
"use strict";
const VIEWS = {
  "hdr_correct": {"replies": ["application/json", "image/jpeg"], "picture": "Corrected", "holes": false, "saves": {"Scene (OpenEXR)": "image/x-exr", "Everything (ZIP)": "application/zip"}},
  "hoi": {"replies": ["application/json", "image/jpeg"], "picture": "People, things and what is done", "holes": false, "saves": {}},
  "hra_screening": {"replies": ["application/json", "image/jpeg"], "picture": "Where the network looked for the most likely class", "holes": false, "saves": {}},
  "inpaint": {"replies": ["image/png"], "picture": "Filled", "holes": true, "saves": {}},
  "svbrdf": {"replies": ["application/json", "image/apng"], "picture": "The surface with a light going around", "holes": false, "saves": {"Maps (ZIP)": "application/zip", "Material (GLB)": "model/gltf-binary", "Maps (OpenEXR)": "image/x-exr"}},
};
