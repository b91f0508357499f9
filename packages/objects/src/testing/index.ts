/** For tests: the suite that every object store runs. */

export { type S3Double, startS3Double } from './s3-double.ts';
