// Makes wwwroot/viewer/ from the pinned packages: the viewer, Cornerstone3D that it loads, the planes across a stack, and the decoding worker. They need nothing else, and nothing from the internet.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const loader = path.dirname(createRequire(import.meta.url).resolve('@cornerstonejs/dicom-image-loader'));
await build({
  entryPoints: { viewer: path.join(here, 'viewer.js'), engine: path.join(here, 'engine.js'), mpr: path.join(here, 'mpr.js'), decodeImageFrameWorker: path.join(loader, 'decodeImageFrameWorker.js') },
  outdir: path.resolve(here, '../wwwroot/viewer'),
  bundle: true, minify: true, format: 'esm', target: 'es2022', logLevel: 'warning', legalComments: 'external', define: { global: 'globalThis' },
  // The viewer loads them, the one when it has drawn a first picture, the other when somebody asks; the output of Emscripten asks for the others in Node alone.
  external: ['./engine.js', './mpr.js', 'fs', 'path', 'crypto', 'module', 'worker_threads'],
  plugins: [{
    // What writes XML files for vtk.js is for Node, and no viewer calls it.
    name: 'no-xml',
    setup(esbuild) {
      esbuild.onResolve({ filter: /^xmlbuilder2$/ }, () => ({ path: 'none', namespace: 'none' }));
      esbuild.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export const create = null;' }));
    },
  }],
});
