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
  /** Whether the bucket is in the path or in the name of the host; default `path`: buckets are no names in a site's DNS. */
  readonly addressing?: Addressing | undefined;
}

export type Addressing = 'path' | 'virtual';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Source: Amazon S3 User Guide, "General purpose bucket naming rules"; prefixes are narrower, so that they need no
 * escapes in URLs and paths.
 * @param text `s3://BUCKET[/PREFIX]`
 * @throws USAGE naming what is wrong
 */
export function parseS3Location(text: string): S3Location {
  const [, bucket = '', rest = ''] = /^s3:\/\/([^/]*)(?:\/(.*))?$/s.exec(text) ?? [];
  const prefix = rest.replace(/^\/+|\/+$/g, '');
  const problem = text.startsWith('s3://')
    ? (bucketProblem(bucket) ?? prefixProblem(prefix))
    : 'write s3://BUCKET[/PREFIX] or file:///DIR';
  if (problem === undefined) return { bucket, prefix };
  throw new CodedError('USAGE', `--object-store ${printable(text)}: ${problem}`);
}

function bucketProblem(bucket: string): string | undefined {
  const bad = /[^a-z0-9.-]/u.exec(bucket)?.[0];
  if (bad !== undefined) {
    return `"${printable(bad)}" is not allowed in a bucket name: lower-case letters, digits, "." and "-" are`;
  }
  if (bucket.length < 3 || bucket.length > 63) return 'a bucket name has 3 to 63 characters';
  return /^[.-]|[.-]$/.test(bucket) ? 'a bucket name begins and ends with a letter or digit' : undefined;
}

function prefixProblem(prefix: string): string | undefined {
  if (prefix === '') return undefined;
  const bad = /[^A-Za-z0-9._/-]/u.exec(prefix)?.[0];
  if (bad !== undefined) {
    return `"${printable(bad)}" is not allowed in a prefix: letters, digits, ".", "_", "-" and "/" are`;
  }
  return prefix.split('/').every((segment) => /^[A-Za-z0-9_]/.test(segment))
    ? undefined
    : 'each segment of a prefix begins with a letter, a digit or "_"';
}

/** @throws USAGE when no endpoint is named anywhere; CONFIG when there are no credentials or the endpoint is no URL */
export async function readS3Settings(
  location: S3Location,
  endpoint: string | undefined,
  env: Env,
  addressing?: Addressing,
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
  const url = endpointOf(endpoint, env, fromFiles['endpoint_url'], profile);
  const token =
    env['AWS_ACCESS_KEY_ID'] === undefined ? fromFiles['aws_session_token'] : env['AWS_SESSION_TOKEN'];
  return {
    ...location,
    endpoint: url,
    region,
    accessKeyId,
    secretAccessKey,
    sessionToken: token,
    addressing,
  };
}

/** There is no default: the only one that is known is on the Internet. An empty variable counts as not set. */
function endpointOf(
  flag: string | undefined,
  env: Env,
  fromProfile: string | undefined,
  profile: string,
): URL {
  const sources: readonly (readonly [where: string, text: string | undefined])[] = [
    ['--s3-endpoint', flag],
    ['AWS_ENDPOINT_URL_S3', env['AWS_ENDPOINT_URL_S3']],
    ['AWS_ENDPOINT_URL', env['AWS_ENDPOINT_URL']],
    [`endpoint_url of the AWS profile ${printable(profile)}`, fromProfile],
  ];
  const [where, text = ''] = sources.find(([, one]) => one !== undefined && one !== '') ?? [];
  if (where === undefined) {
    throw new CodedError(
      'USAGE',
      'no endpoint for the object store: name it with --s3-endpoint URL, such as https://s3.example.com:9000, with AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or with endpoint_url in the AWS profile',
    );
  }
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '') return url;
  throw new CodedError('CONFIG', `${where} ${printable(text)}: write it like https://s3.example.com:9000`);
}
