/**
 * Where a bucket is and who we are there: from flags, the AWS environment variables and the AWS files, and from
 * nowhere else. No metadata service, no single sign-on, no role is ever asked for: inside is silent.
 * Source: AWS SDKs and Tools Reference Guide, "Environment variables", "Shared config and credentials files".
 */
import { CodedError, printable } from '@omni-airgap/oci/base';
import { loadSharedConfigFiles } from '@smithy/shared-ini-file-loader';

export interface S3Location {
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
}

export interface S3Settings extends S3Location {
  readonly endpoint: URL;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

type Env = Readonly<Record<string, string | undefined>>;

/** @param text `s3://BUCKET[/PREFIX]` @throws USAGE */
export function parseS3Location(text: string): S3Location {
  const [, bucket, prefix = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text) ?? [];
  const clean = prefix.replace(/^\/+|\/+$/g, '');
  if (
    bucket === undefined ||
    (clean !== '' && !clean.split('/').every((s) => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(s)))
  ) {
    throw new CodedError(
      'USAGE',
      `--object-store ${printable(text)}: write s3://BUCKET[/PREFIX] or file:///DIR`,
    );
  }
  return { bucket, prefix: clean };
}

/** @throws CONFIG when there are no credentials or the endpoint is no URL */
export async function readS3Settings(
  location: S3Location,
  endpoint: string | undefined,
  env: Env,
): Promise<S3Settings> {
  const profile = env['AWS_PROFILE'] ?? 'default';
  const { configFile, credentialsFile } = await loadSharedConfigFiles();
  const fromFiles: Readonly<Record<string, string | undefined>> = {
    ...new Map(Object.entries(configFile)).get(profile),
    ...new Map(Object.entries(credentialsFile)).get(profile),
  };
  const accessKeyId = env['AWS_ACCESS_KEY_ID'] ?? fromFiles['aws_access_key_id'];
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'] ?? fromFiles['aws_secret_access_key'];
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new CodedError(
      'CONFIG',
      'no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials',
    );
  }
  const region = env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? fromFiles['region'] ?? 'us-east-1';
  const named =
    endpoint ?? env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL'] ?? fromFiles['endpoint_url'];
  const url = URL.parse(named ?? `https://s3.${region}.amazonaws.com`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '') {
    throw new CodedError(
      'CONFIG',
      `--s3-endpoint ${printable(named ?? '')}: write it like https://s3.example.com:9000`,
    );
  }
  const token =
    env['AWS_ACCESS_KEY_ID'] === undefined ? fromFiles['aws_session_token'] : env['AWS_SESSION_TOKEN'];
  return {
    ...location,
    endpoint: url,
    region,
    accessKeyId,
    secretAccessKey,
    sessionToken: token,
  };
}
