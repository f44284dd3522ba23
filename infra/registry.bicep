// What the deployment has to know about a registry that exists already.
param name string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: name
}

output loginServer string = registry.properties.loginServer
output location string = registry.location
