"""The material as a MaterialX document that names its maps' files."""

DOCUMENT = """\
<?xml version="1.0"?>
<materialx version="1.38" colorspace="lin_rec709">
  <nodegraph name="maps">
    <tiledimage name="diffuse" type="color3">
      <input name="file" type="filename" value="{diffuse}" colorspace="srgb_texture" />
    </tiledimage>
    <tiledimage name="roughness" type="float">
      <input name="file" type="filename" value="{roughness}" />
    </tiledimage>
    <tiledimage name="normal" type="vector3">
      <input name="file" type="filename" value="{normal}" />
    </tiledimage>
    <normalmap name="bent" type="vector3">
      <input name="in" type="vector3" nodename="normal" />
    </normalmap>
    <output name="diffuse_out" type="color3" nodename="diffuse" />
    <output name="roughness_out" type="float" nodename="roughness" />
    <output name="normal_out" type="vector3" nodename="bent" />
  </nodegraph>
  <standard_surface name="shader" type="surfaceshader">
    <input name="base" type="float" value="1.0" />
    <input name="base_color" type="color3" nodegraph="maps" output="diffuse_out" />
    <input name="metalness" type="float" value="{metallic:.4f}" />
    <input name="specular_IOR" type="float" value="1.576" />
    <input name="specular_roughness" type="float" nodegraph="maps" output="roughness_out" />
    <input name="normal" type="vector3" nodegraph="maps" output="normal_out" />
  </standard_surface>
  <surfacematerial name="surface" type="material">
    <input name="surfaceshader" type="surfaceshader" nodename="shader" />
  </surfacematerial>
</materialx>
"""


def materialx_document(*, diffuse: str, normal: str, roughness: str, metallic: float) -> bytes:
    return DOCUMENT.format(diffuse=diffuse, normal=normal, roughness=roughness, metallic=metallic).encode()
