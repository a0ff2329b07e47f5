#!/bin/bash
# JsSIP as one file that a page can load: made from npm's package, once, some seconds. Prints where it is.
set -eu
root=${JSSIP_ROOT:-/var/cache/turnpike/jssip}
jssip=3.13.8 esbuild=0.28.2
bundle=$root/jssip-$jssip.js

if [ ! -s "$bundle" ]; then
    mkdir -p "$root/build"
    npm install --prefix "$root/build" --silent --no-audit --no-fund "jssip@$jssip" "esbuild@$esbuild" >&2
    "$root/build/node_modules/.bin/esbuild" "$root/build/node_modules/jssip/lib/JsSIP.js" --bundle --minify --format=iife \
        --global-name=JsSIP --log-level=error --outfile="$root/build/bundle.js" >&2
    mv "$root/build/bundle.js" "$bundle"
    rm -rf "$root/build"
fi
echo "$bundle"
