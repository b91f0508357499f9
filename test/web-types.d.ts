/** What Node.js 22.19 has and its type package lacks. https://fetch.spec.whatwg.org/#dom-body-bytes */
interface Response {
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}
