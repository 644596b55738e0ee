#!/bin/bash
# prune.sh PREFIX: removes the parts of an environment's packages that no service loads. The tests of the images send a
# picture of every format through them.
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)

find "$packages" -depth -type d -name tests -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' \) -delete

# Tools that create models, and the library for C programs; Python's binding contains its own copy.
cd "$packages/onnxruntime" 2>/dev/null && rm -rf transformers tools quantization datasets capi/libonnxruntime.so.*

# Keeps the codecs of accepted formats (alone or inside TIFF) out of about sixty, and the libraries that they need.
if cd "$packages/imagecodecs" 2>/dev/null; then
  for module in _*.so; do
    case $module in
      _shared* | _imcd* | _cms* | _png* | _deflate* | _zlib* | _zstd* | _lzma* | _jpeg8* | _jpeg2k* | _webp* | _lerc* | _tiff*) ;;
      *) rm "$module" ;;
    esac
  done
  cd ../imagecodecs.libs
  needed=$(LD_LIBRARY_PATH=. ldd ../imagecodecs/*.so | awk '/=> .*imagecodecs.libs|=> \.\// { print $1 }' | sort -u)
  for library in *; do grep -qxF "$library" <<<"$needed" || rm "$library"; done
fi

# Debug symbols. A library patched by its package may not load without them; it keeps them.
find "$packages" -type f -name '*.so*' ! -path '*/nvidia/*' | while read -r library; do
  cp -p "$library" /tmp/whole
  strip --strip-unneeded "$library"
  "$1/bin/python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library" 2>/dev/null || cp -p /tmp/whole "$library"
done
