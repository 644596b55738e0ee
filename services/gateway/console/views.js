// Written by `make console` from the declarations in services/*/schemas.py.
"use strict";
const VIEWS = {
  "hdr_correct": {"replies": ["application/json", "image/jpeg"], "picture": "Corrected photo", "holes": false, "saves": {"Scene (OpenEXR)": "image/x-exr", "Everything (ZIP)": "application/zip"}},
  "hoi": {"replies": ["application/json", "image/jpeg"], "picture": "People, objects and interactions", "holes": false, "saves": {}},
  "hra_screening": {"replies": ["application/json", "image/jpeg"], "picture": "Regions that support the most likely class", "holes": false, "saves": {}},
  "inpaint": {"replies": ["image/png"], "picture": "Filled photo", "holes": true, "saves": {"Photo, map and evidence record (ZIP)": "application/zip"}},
  "svbrdf": {"replies": ["application/json", "image/apng"], "picture": "Surface under a rotating light", "holes": false, "saves": {"Maps (ZIP)": "application/zip", "Material (GLB)": "model/gltf-binary", "Maps (OpenEXR)": "image/x-exr"}},
};
