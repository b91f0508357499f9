/** For tests: the suite that every object store runs. */

export { problem, type S3Double, startS3Double } from './s3-double.ts';
