// Opens protected publications with Readium's reader, and prints as JSON what it saw of each.
//
//     open.js JOBS     JOBS: a file with [{"where": path or address, "keys": [hex SHA-256 of a passphrase, ...]}, ...]
//
// Of each: {"opened": false}, if no key is the licence's, or {"opened": true, "title", "hint", "plain": {path: SHA-256 of the plain resource},
// "encrypted": [paths of those that were encrypted], "unlisted": [entries that the publication does not name]}.
"use strict";

const { createHash } = require("crypto");
const { readFileSync } = require("fs");
const { initGlobalConverters_GENERIC, initGlobalConverters_SHARED } = require("r2-shared-js/dist/es8-es2017/src/init-globals");
const { Divinais, DivinaParsePromise } = require("r2-shared-js/dist/es8-es2017/src/parser/divina");
const { EpubParsePromise } = require("r2-shared-js/dist/es8-es2017/src/parser/epub");
const { Transformers } = require("r2-shared-js/dist/es8-es2017/src/transform/transformer");
const { bufferToStream, streamToBufferPromise } = require("r2-utils-js/dist/es8-es2017/src/_utils/stream/BufferUtils");
const { setLcpNativePluginPath } = require("r2-lcp-js/dist/es8-es2017/src/parser/epub/lcp");

// Its streams wait for ever for an answer that does not come.
const SECONDS_MAX = 120;

function parse(where) {
    const remote = /^http:/.test(where);
    const path = remote ? new URL(where).pathname : where;
    if (/\.epub$/.test(path)) return EpubParsePromise(where);
    return DivinaParsePromise(where, remote ? Divinais.RemotePacked : Divinais.LocalPacked, /\.(lc)?pdf$/.test(path) ? "pdf" : "divina");
}

// An entry as a stream of one piece. The reader looks for the padding in the last 32 bytes, and finds none if they come in two pieces: of a file if its
// length is 16 more than a multiple of 16384, over a network at random.
async function entry(zip, path) {
    const whole = await streamToBufferPromise((await zip.entryStreamPromise(path)).stream);
    return { length: whole.length, stream: bufferToStream(whole), reset: () => entry(zip, path) };
}

async function read(publication, zip, path, link) {
    let stream = await entry(zip, path);
    if (link) stream = await Transformers.tryStream(publication, link, undefined, stream, false, 0, 0, undefined);
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const piece of stream.stream) {
        hash.update(piece);
        bytes += piece.length;
    }
    if (bytes !== stream.length) throw new Error(`${path}: ${bytes} bytes, said to be ${stream.length}`);
    return hash.digest("hex");
}

async function open({ where, keys }) {
    const publication = await parse(where);
    try {
        if (!publication.LCP) throw new Error(`${where}: no licence was found`);
        try {
            await publication.LCP.tryUserKeys(keys);
        } catch (refusal) {
            // What it says when no key fits; anything else is no answer.
            if (refusal !== 1) throw refusal;
            return { opened: false };
        }
        return await resources(publication);
    } finally {
        publication.freeDestroy();
    }
}

async function resources(publication) {
    const zip = publication.findFromInternal("zip").Value;
    const links = new Map();
    for (const link of [...(publication.Spine || []), ...(publication.Resources || [])]) links.set(link.HrefDecoded, link);
    const found = { opened: true, plain: {}, encrypted: [], unlisted: [] };
    for (const path of await zip.getEntries()) {
        const link = links.get(path);
        if (link && link.Properties && link.Properties.Encrypted) found.encrypted.push(path);
        if (!link) found.unlisted.push(path);
        found.plain[path] = await read(publication, zip, path, link);
    }
    found.title = publication.Metadata.Title;
    found.hint = publication.LCP.Encryption.UserKey.TextHint;
    return found;
}

async function main() {
    initGlobalConverters_SHARED();
    initGlobalConverters_GENERIC();
    setLcpNativePluginPath("/nonexistent");
    const late = setTimeout(() => {
        console.error(`nothing for ${SECONDS_MAX} seconds`);
        process.exit(3);
    }, SECONDS_MAX * 1000);
    const found = [];
    for (const job of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
        found.push(await open(job));
        late.refresh();
    }
    clearTimeout(late);
    process.stdout.write(JSON.stringify(found));
}

main();
