// The identity of the app, and the roles of the app, of operators and of consumers.
param location string
param tags object
param token string
param storageName string
param insightsName string

@description('The user or group that may read the queues, replay and reconcile. Empty: nobody.')
param operatorId string

@description('The identity that may take messages from the queues. Empty: nobody.')
param consumerId string

// Built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roleIds = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  queueDataMessageProcessor: '8a0f0c08-91a1-4084-bc3d-661d67233fed'
  queueDataMessageSender: 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
  queueDataReader: '19e7f393-937e-4f77-808e-94535e297925'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
}

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageName

  resource tableService 'tableServices' existing = {
    name: 'default'

    resource recovered 'tables' existing = {
      name: 'acrrecovered'
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${token}'
  location: location
  tags: tags
}

// https://learn.microsoft.com/azure/azure-functions/functions-reference
// https://learn.microsoft.com/azure/storage/queues/authorize-access-azure-active-directory
// The host keeps the package, its keys and the leases of timers in blobs. The app sends messages, and
// reads how many there are.
resource appStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [roleIds.blobDataOwner, roleIds.queueDataMessageSender, roleIds.queueDataReader]: {
    name: guid(storage.id, identity.id, role)
    scope: storage
    properties: {
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource appTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage::tableService::recovered.id, identity.id, roleIds.tableDataContributor)
  scope: storage::tableService::recovered
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds.tableDataContributor)
  }
}

resource appInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, identity.id, roleIds.monitoringMetricsPublisher)
  scope: insights
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.monitoringMetricsPublisher
    )
  }
}

// Without a principalType, as an operator can be a user or a group.
resource operators 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [roleIds.queueDataContributor, roleIds.tableDataContributor]: if (!empty(operatorId)) {
    name: guid(storage.id, operatorId, role)
    scope: storage
    properties: {
      principalId: operatorId
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource consumers 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(consumerId)) {
  name: guid(storage.id, consumerId, roleIds.queueDataMessageProcessor)
  scope: storage
  properties: {
    principalId: consumerId
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.queueDataMessageProcessor
    )
  }
}

output identityId string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
