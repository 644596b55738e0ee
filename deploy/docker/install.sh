#!/bin/sh
# install.sh LOCK LEFT_OUT: installs the packages of LOCK except those listed in LEFT_OUT into /opt/sightline, by hash and
# from wheels only, and writes an SBOM of the result beside it.
set -eu
awk 'NR == FNR { if ($1 != "#") left_out[$1]; next }
     /^[a-z0-9]/ { split($1, pin, "=="); skip = pin[1] in left_out }
     !skip' "$2" "$1" >/tmp/requirements.txt

pip_install() { # PREFIX REQUIREMENTS
  python -m venv --without-pip "$1"
  python -m pip --python "$1/bin/python" install --quiet --no-cache-dir --disable-pip-version-check --no-compile \
    --require-hashes --no-deps --only-binary :all: -r "$2"
}

pip_install /opt/sightline /tmp/requirements.txt
pip_install /opt/sbom locks/sbom.txt
/opt/sbom/bin/cyclonedx-py environment --of JSON -o /opt/sightline/sbom.cdx.json /opt/sightline/bin/python
deploy/docker/prune.sh /opt/sightline

# Each NVIDIA package has its own folder, but the loader searches only one.
mkdir /opt/sightline/cuda
find /opt/sightline/lib -path '*/nvidia/*/lib/*.so*' -exec ln -s {} /opt/sightline/cuda/ \;
# The root file system is read-only: without bytecode in the image every start would compile everything.
python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/sightline/lib
