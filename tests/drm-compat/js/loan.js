// What Readium's reader does with a loan: reads its status, registers, renews, returns. Prints as JSON what it was told at each step.
//
//     loan.js LICENCE STEP...     STEP: open, renew, renew=END, return, return-again
"use strict";

const { readFileSync } = require("fs");
const { initGlobalConverters_GENERIC } = require("r2-shared-js/dist/es8-es2017/src/init-globals");
const { lsdRenew_ } = require("r2-lcp-js/dist/es8-es2017/src/lsd/renew");
const { lsdReturn_ } = require("r2-lcp-js/dist/es8-es2017/src/lsd/return");
const { launchStatusDocumentProcessing } = require("r2-lcp-js/dist/es8-es2017/src/lsd/status-document-processing");
const { LCP } = require("r2-lcp-js/dist/es8-es2017/src/parser/epub/lcp");
const { TaJsonDeserialize } = require("r2-lcp-js/dist/es8-es2017/src/serializable");

const registered = new Map();
const device = {
    getDeviceID: async () => "기기 1 & 2",
    getDeviceNAME: async () => "책 읽는 기기 100% / #1",
    checkDeviceID: async (licence) => registered.get(licence),
    recordDeviceID: async (licence) => registered.set(licence, await device.getDeviceID()),
};

// The status as the reader holds it after it has asked, and the licence if it found that its own was old.
function openLicence(licence) {
    return new Promise((resolve) => {
        launchStatusDocumentProcessing(licence, device, (fresh) => resolve({ fresh, status: licence.LSD }));
    });
}

function told(status) {
    return { status: status.Status, message: status.Message, rels: status.Links.map((link) => link.Rel), end: status.PotentialRights && status.PotentialRights.End };
}

let old;

async function take(licence, step) {
    const [verb, end] = step.split("=");
    try {
        if (verb === "open") {
            const { fresh, status } = await openLicence(licence);
            return { step, fresh: fresh === undefined ? null : fresh, ...told(status) };
        }
        // A status names no address for what cannot be done any more. Another device may not have asked since.
        const status = verb === "return-again" ? old : licence.LSD;
        old = licence.LSD;
        licence.LSD = verb === "renew" ? await lsdRenew_(end && new Date(end), status, device) : await lsdReturn_(status, device);
        return { step, ...told(licence.LSD) };
    } catch (refusal) {
        if (!refusal.httpStatusCode) throw refusal;
        return { step, refusal };
    }
}

async function main() {
    initGlobalConverters_GENERIC();
    let licence = TaJsonDeserialize(JSON.parse(readFileSync(process.argv[2], "utf8")), LCP);
    const steps = [];
    for (const step of process.argv.slice(3)) {
        const answer = await take(licence, step);
        steps.push(answer);
        if (!answer.fresh) continue;
        const status = licence.LSD;
        licence = TaJsonDeserialize(JSON.parse(answer.fresh), LCP);
        licence.LSD = status;
    }
    process.stdout.write(JSON.stringify(steps));
}

main();
