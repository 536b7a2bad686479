/** Specifications to start from. */
export interface Sample {
  name: string;
  description: string;
  spec: string;
}

export const SAMPLES: readonly Sample[] = [
  {
    name: 'Hello page',
    description: 'One small page that says who is calling. Keeps no data.',
    spec: `# A page that answers with what it was asked: good for a first try.
name: hello
image: docker.io/traefik/whoami:v1.10
listeners:
  - name: hello
    guest_port: 80
    protocol: http
`,
  },
  {
    name: 'Password safe',
    description: 'Vaultwarden, with its data in an encrypted volume.',
    spec: `# A password safe. Open it from anywhere: browsers want HTTPS for it.
name: vault
image: docker.io/vaultwarden/server:1.32.7
listeners:
  - name: vault
    guest_port: 80
    protocol: websocket
storage:
  persistent:
    data:
      container: /data
      size_limit: 2GB
resources:
  limits:
    memory: 512MB
`,
  },
];
