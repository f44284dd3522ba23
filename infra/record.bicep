// The right to read what became of a registry's deliveries, and nothing else of it.
param registryName string

@description('The app.')
param principalId string

@description('Who may reconcile by hand; empty for nobody.')
param operatorId string

var where = resourceGroup().id

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

// No built-in role has it without the right to change the registry.
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(registry.id, 'listEvents')
  properties: {
    roleName: 'Container Registry Webhook Record Reader (${registryName})'
    description: 'Reads what became of the deliveries of webhooks.'
    type: 'CustomRole'
    permissions: [
      {
        actions: ['Microsoft.ContainerRegistry/registries/webhooks/listEvents/action']
      }
    ]
    assignableScopes: [where]
  }
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, principalId, role.id)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: role.id
  }
}

// Whether it is a user or a group, Azure knows.
resource operator 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(registry.id, operatorId, role.id)
  scope: registry
  properties: {
    principalId: operatorId
    roleDefinitionId: role.id
  }
}
