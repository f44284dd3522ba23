// The right to read the delivery logs of a registry, and nothing else.
// https://learn.microsoft.com/azure/container-registry/container-registry-rbac-custom-roles
param registryName string

@description('The principal id of the app\'s identity.')
param principalId string

@description('The object id of a user or group that may reconcile by hand. Empty: nobody.')
param operatorId string

var where = resourceGroup().id

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

// No built-in role has this right without the right to change the registry.
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

// Azure finds out whether it is a user or a group.
resource operator 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(registry.id, operatorId, role.id)
  scope: registry
  properties: {
    principalId: operatorId
    roleDefinitionId: role.id
  }
}
