// Makes wwwroot/viewer/ from the pinned packages: two files that need nothing else, and nothing from the internet.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const loader = path.dirname(createRequire(import.meta.url).resolve('@cornerstonejs/dicom-image-loader'));
await build({
  entryPoints: { viewer: path.join(here, 'viewer.js'), decodeImageFrameWorker: path.join(loader, 'decodeImageFrameWorker.js') },
  outdir: path.resolve(here, '../wwwroot/viewer'),
  bundle: true, minify: true, format: 'esm', target: 'es2022', logLevel: 'warning', legalComments: 'external', define: { global: 'globalThis' },
  // The output of Emscripten asks for these in Node alone.
  external: ['fs', 'path', 'crypto', 'module', 'worker_threads'],
  plugins: [{
    // What writes XML files for vtk.js is for Node, and no viewer calls it.
    name: 'no-xml',
    setup(esbuild) {
      esbuild.onResolve({ filter: /^xmlbuilder2$/ }, () => ({ path: 'none', namespace: 'none' }));
      esbuild.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export const create = null;' }));
    },
  }],
});
