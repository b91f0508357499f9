/** The documents of a YAML file as plain values. */
import { parseAllDocuments } from 'yaml';

/** None of a file that is not there. */
export function documents(text = ''): unknown[] {
  return [...parseAllDocuments(text)].map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJS();
  });
}
