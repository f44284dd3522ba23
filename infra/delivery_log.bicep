// The right to read the delivery log of a registry's webhooks, and nothing else of the registry.
param registryName string

@description('Makes the role unique to this environment, so that two environments can share a registry.')
param token string

@description('The identity of the app.')
param principalId string

@description('The user or group that may reconcile by hand. Empty: nobody.')
param operatorId string

var scope = resourceGroup().id

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

// Every built-in role with this right may also change the registry.
// https://learn.microsoft.com/azure/container-registry/container-registry-rbac-custom-roles
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(registry.id, token, 'listEvents')
  properties: {
    roleName: 'Container Registry Delivery Log Reader (${registryName}, ${token})'
    description: 'Lists the deliveries of webhooks.'
    type: 'CustomRole'
    permissions: [
      {
        actions: ['Microsoft.ContainerRegistry/registries/webhooks/listEvents/action']
      }
    ]
    assignableScopes: [scope]
  }
}

resource appAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, principalId, role.id)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.name)
  }
}

// Without a principalType, as the operator can be a user or a group.
resource operatorAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  name: guid(registry.id, operatorId, role.id)
  scope: registry
  properties: {
    principalId: operatorId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.name)
  }
}
