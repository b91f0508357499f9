/** Hosts and ports. */
import { describe, expect, it } from 'vitest';
import { egressHosts, insidePorts } from '../src/egress.ts';

const patterns = (needs: Parameters<typeof egressHosts>[0]): readonly string[] =>
  egressHosts(needs).map(({ pattern, port }) => (port === 443 ? pattern : `${pattern}:${port}`));

describe('egressHosts', () => {
  it('are the documented domains of Omni and the factory', () => {
    expect(patterns({ ghcr: true, factory: true, registries: [] })).toEqual([
      'ghcr.io',
      '*.githubusercontent.com',
      'factory.talos.dev',
      '*.factory.talos.dev',
      '*.r2.cloudflarestorage.com',
    ]);
  });

  it('are none where nothing is needed', () => {
    expect(patterns({ ghcr: false, factory: false, registries: [] })).toEqual([]);
  });

  it('follow the registries, each host once', () => {
    expect(
      patterns({ ghcr: true, factory: false, registries: ['ghcr.io', 'registry.k8s.io', 'gcr.io'] }),
    ).toEqual([
      'ghcr.io',
      '*.githubusercontent.com',
      'registry.k8s.io',
      '*.pkg.dev',
      'storage.googleapis.com',
      '*.s3.dualstack.us-east-1.amazonaws.com',
      'gcr.io',
    ]);
  });

  it('are those that Docker and Red Hat publish for docker.io and quay.io', () => {
    expect(patterns({ ghcr: false, factory: false, registries: ['docker.io'] })).toEqual([
      'registry-1.docker.io',
      'auth.docker.io',
      'production.cloudflare.docker.com',
      'production.cloudfront.docker.com',
      'docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com',
    ]);
    expect(patterns({ ghcr: false, factory: false, registries: ['quay.io'] })).toEqual([
      'quay.io',
      '*.quay.io',
    ]);
  });

  it('keep the port of another registry', () => {
    expect(
      patterns({ ghcr: false, factory: false, registries: ['r.example:5000', 'r.example', '[::1]:5000'] }),
    ).toEqual(['r.example:5000', 'r.example', '[::1]:5000']);
  });

  it('say what each is for', () => {
    for (const { why } of egressHosts({
      ghcr: true,
      factory: true,
      registries: ['docker.io', 'x.example'],
    })) {
      expect(why).not.toBe('');
    }
  });
});

describe('insidePorts', () => {
  it('have WireGuard where it is said to be', () => {
    const wireguard = (ports: ReturnType<typeof insidePorts>): unknown =>
      ports.filter(({ to, protocol }) => to === 'omni' && protocol === 'udp').map(({ port }) => port);
    expect(wireguard(insidePorts())).toEqual([51820]);
    expect(wireguard(insidePorts({ wireguardPort: 50180 }))).toEqual([50180]);
  });

  it('need two ports of Omni as a service', () => {
    expect(
      insidePorts()
        .filter(({ to, saas }) => to === 'omni' && saas)
        .map(({ port, protocol }) => `${port}/${protocol}`),
    ).toEqual(['443/tcp', '51820/udp']);
  });
});
