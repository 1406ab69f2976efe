// SPDX-FileCopyrightText: monai_gmcl contributors
// SPDX-License-Identifier: Apache-2.0

// Search in pages that are opened as files. Browsers start no worker from file://, so the worker's script runs in a
// hidden frame. The theme's search looks for the name IFrameWorker.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = async (...urls) => {
        for (const one of urls) await load(inner, one);
      };
      this.frame = frame;
      this.ready = load(inner, url);
    }

    postMessage(data) {
      const inner = this.frame.contentWindow;
      this.ready.then(() => inner.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}

function load(inner, url) {
  return new Promise((resolve, reject) => {
    const script = inner.document.createElement("script");
    script.src = new URL(url, location.href);
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${url} cannot be loaded`));
    inner.document.head.append(script);
  });
}
