/** For tests: the suite that every object store runs. */

export { startS3Double } from './s3-double.ts';
